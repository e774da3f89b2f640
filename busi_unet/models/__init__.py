"""`UNet`, its encoders, model folders, detection of inputs out of distribution."""
