"""How far the answers come from the image: what the page shows of ``looking`` in the results."""
