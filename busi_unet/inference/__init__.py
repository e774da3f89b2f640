"""From an image to a `Prediction`: preprocessing, the forward pass, postprocessing, calibration."""
