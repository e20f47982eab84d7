"""Layerpress on several GPUs: the parts of a job as tasks on Ray."""
