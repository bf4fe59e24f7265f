"""Pre-training without labels: the fully convolutional masked autoencoder (FCMAE) of ConvNeXt V2."""
