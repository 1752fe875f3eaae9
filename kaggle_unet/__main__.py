"""`python -m kaggle_unet` is the console script `kaggle-unet`."""

from kaggle_unet.cli import main

if __name__ == "__main__":
    main()
