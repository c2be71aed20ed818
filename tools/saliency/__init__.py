"""From a folder of images to a mask of each: the methods, and their run over the images."""
