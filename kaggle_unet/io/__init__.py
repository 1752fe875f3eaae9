"""Files of other people in and out: archives, images, masks, tables."""
