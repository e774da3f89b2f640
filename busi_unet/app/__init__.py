"""The web page and its API; the only modules that import gradio."""
