"""What methods keep of images that they have seen: queues, a row for each image, centroids."""
