"""What others made, measured beside ours: catalogue.py finds who, process.py runs their drivers, serve.py is in them."""
