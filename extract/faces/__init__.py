"""Faces in pictures: detection with MTCNN, and tracking between detections."""
