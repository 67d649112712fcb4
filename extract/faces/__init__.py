"""Faces in pictures: detection (MTCNN) and what lies between two detections of a face."""
