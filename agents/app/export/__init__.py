"""A trained policy as a file that others run: by ONNX, by torch alone, or by what reads JSON."""
