"""Faces in pictures: detection (MTCNN) and tracking between detections."""
