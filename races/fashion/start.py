"The nearest of the ten mean images."
import numpy as np

def train(images, labels, seconds, seed):
    "images: [N, 1, 28, 28] uint8, labels: [N]. Returns a model."
    return np.stack([images[labels == c].mean(0).ravel() for c in range(10)])

def classes(model, images):
    "images: [N, 1, 28, 28] uint8. Returns [N], the class of each."
    flat = images.reshape(len(images), -1)
    return ((flat[:, None]-model)**2).sum(-1).argmin(1)
