"""What is put on the Hugging Face Hub: models, prepared data sets, the Space; `busi_unet.hub` sends it."""
