"""Memories of methods: queues of embeddings, a row for each image, centroids."""
