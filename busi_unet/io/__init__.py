"""Reading images and archives, finding images, writing files whole or not at all."""
