"""What the colours of files mean: video tags, HDR on SDR screens, ICC profiles of photos."""
