# The web app with the embedded weights, on a CPU; docs/app.md says how to run it.
FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1
WORKDIR /srv
COPY requirements.txt .
# Without PyTorch and what only it needs: ONNX Runtime runs the embedded weights.
RUN grep -vE '^(torch|sympy|mpmath|networkx)==' requirements.txt > light.txt && pip install --requirement light.txt
COPY app.py LICENSE ./
COPY busi_unet busi_unet
RUN python -m compileall -q busi_unet && useradd --uid 10001 app
USER app
# Nothing is written but here; the home folder does not exist.
ENV HOME=/tmp GRADIO_SERVER_NAME=0.0.0.0
EXPOSE 7860
CMD ["python", "app.py"]
