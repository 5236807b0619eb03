"""Are samples copies of training images, and do they give away who was trained on?"""
