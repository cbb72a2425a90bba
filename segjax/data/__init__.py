"""Sources of images and labels, one a file, and the one pipeline that reads them."""
