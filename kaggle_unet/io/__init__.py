"""Reading and writing of data files: archives, images, masks, tables."""
