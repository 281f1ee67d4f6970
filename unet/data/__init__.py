"""Images and masks: where they come from, what is wrong with them, and the batches that are made of them."""
