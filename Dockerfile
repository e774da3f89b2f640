# The web app with the embedded weights, on a CPU; docs/app.md says how to run it.
FROM python:3.11-slim
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu PIP_NO_CACHE_DIR=1
WORKDIR /srv
COPY requirements.txt .
RUN pip install --requirement requirements.txt
COPY app.py LICENSE ./
COPY busi_unet busi_unet
RUN python -m compileall -q busi_unet && useradd --uid 10001 app
USER app
# Nothing is written but here; the home folder does not exist.
ENV HOME=/tmp GRADIO_SERVER_NAME=0.0.0.0
EXPOSE 7860
CMD ["python", "app.py"]
