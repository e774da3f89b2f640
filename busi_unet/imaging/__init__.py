"""A picture before and after the network: decoding, preprocessing, postprocessing, measuring, drawing."""
