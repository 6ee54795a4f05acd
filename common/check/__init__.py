"""What is wrong with a hospital's data, before anybody trains on them."""
