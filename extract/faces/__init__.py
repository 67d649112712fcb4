"""Find faces in the pictures of a clip: MTCNN detects them in some pictures, and tracking finds them in between."""
