"""The network: `UNet` and its encoders."""
