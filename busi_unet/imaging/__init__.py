"""Measuring, drawing, checking and comparing images and masks; the PDF report."""
