// When no event is open, Gradio's server ends the stream of answers, and its page then stops reading, even if an
// event was sent in between, whose answer would never be shown. Here the page's stream never ends: it is read on as
// soon as an event is open.
(() => {
    const send = window.fetch, open = new Set(), early = new Set(), encoder = new TextEncoder();
    let wake = () => {};
    // Hands messages over; returns whether the server ended the stream as planned.
    const pass = async (answer, page) => {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let ended = false;
        for (let text = "", part; !(part = await reader.read()).done;) {
            const messages = (text + part.value).split("\n\n");
            text = messages.pop();
            for (const message of messages) {
                // A proxy may add lines of comment.
                const { msg, event_id } = message.startsWith("data: ") ? JSON.parse(message.slice(6)) : {};
                ended ||= msg === "close_stream";
                // An answer may come before the address of its event.
                if (msg === "process_completed" && !open.delete(event_id)) early.add(event_id);
                if (!ended) page.enqueue(encoder.encode(`${message}\n\n`));
            }
        }
        return ended;
    };
    const follow = async (request) => {
        const first = await send(request.clone());
        const start = async (page) => {
            for (let answer = first; await pass(answer, page); answer = await send(request.clone())) {
                if (!open.size) await new Promise((woken) => (wake = woken));
            }
            page.close();
        };
        return first.ok ? new Response(new ReadableStream({ start }), { headers: first.headers }) : first;
    };
    window.fetch = async (...request) => {
        const address = request[0].url ?? String(request[0]);
        if (address.includes("/queue/data?")) return follow(new Request(...request));
        const answer = await send(...request);
        if (answer.ok && address.includes("/queue/join")) {
            const { event_id } = await answer.clone().json();
            if (!early.delete(event_id)) open.add(event_id);
            wake();
        }
        return answer;
    };
})();
