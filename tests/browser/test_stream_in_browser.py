"""The page reads the answer of an event that was sent while the server ended the stream of answers."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from busi_unet.app import page as app_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# A server of one page: `streams` are those that the page opened, `event` sends one.
_SERVER = """() => {
    window.streams = [];
    window.fetch = async (request) => {
        const address = request.url ?? request;
        if (address.includes("/queue/join")) return Response.json({ event_id: address.split("?")[1] });
        const body = new ReadableStream({ start: (stream) => { window.streams.push(stream); } });
        return new Response(body);
    };
    window.say = (msg, event_id) => {
        const told = JSON.stringify({ msg, event_id });
        const message = new TextEncoder().encode(`: of a proxy\\n\\ndata: ${told}\\n\\n`);
        // In two parts, as it may arrive.
        window.streams.at(-1).enqueue(message.slice(0, 9));
        window.streams.at(-1).enqueue(message.slice(9));
    };
    window.end = () => {
        window.say("close_stream");
        window.streams.at(-1).close();
    };
    window.event = (id) => fetch(`http://app/queue/join?${id}`);
    window.heard = "";
}"""
_READ = """async () => {
    const answer = await fetch(new Request("http://app/queue/data?session_hash=1"));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    (async () => {
        for (let part; !(part = await reader.read()).done;) window.heard += part.value;
    })();
}"""


def test_an_answer_is_read_though_the_stream_ended_meanwhile(blank_page: Page) -> None:
    blank_page.goto("about:blank")
    blank_page.evaluate(_SERVER)
    blank_page.evaluate(app_page.LAUNCH_OPTIONS["head"].removeprefix("<script>").removesuffix("</script>"))

    def heard(event: str) -> None:
        blank_page.wait_for_function(f"heard.includes('\"{event}\"')")

    blank_page.evaluate("event('first')")
    blank_page.evaluate(_READ)
    blank_page.evaluate("say('process_completed', 'first')")
    # The server ends the stream of the first event as the second one is sent.
    blank_page.evaluate("event('second').then(end)")
    blank_page.wait_for_function("streams.length == 2")
    blank_page.evaluate("say('process_completed', 'second')")
    heard("second")

    blank_page.evaluate("end()")
    blank_page.evaluate("event('third')")
    blank_page.wait_for_function("streams.length == 3")
    blank_page.evaluate("say('process_completed', 'third')")
    heard("third")
    assert "close_stream" not in blank_page.evaluate("heard")
