from busi_unet.app import page
from busi_unet.cli import main


def test_serves_the_model_at_the_address_asked_for(tiny_model, monkeypatch):
    asked = {}

    class Page:
        def __init__(self, model):
            asked["model"] = model

        def launch(self, *, server_name, server_port, **options):
            asked.update(host=server_name, port=server_port, **options)

    monkeypatch.setattr(page, "build_page", Page)
    assert main(["app", "--model", str(tiny_model), "--host", "0.0.0.0", "--port", "7999"]) == 0
    for missing in ("nope", "runs/nope/model"):
        assert main(["app", "--model", missing]) == 2
    assert asked == {"model": str(tiny_model), "host": "0.0.0.0", "port": 7999, **page.LAUNCH_OPTIONS}
