() => {
    // What Gradio leaves out for screen readers and the keyboard: names of the button around an image, of the
    // place where one is missing, and of the examples; a way to scroll a table without a mouse.
    const name = () => {
        for (const button of document.querySelectorAll("button:not([aria-label]):has(> .image-frame)")) {
            const label = button.closest(".block")?.querySelector("[data-testid='block-label']");
            button.setAttribute("aria-label", label?.textContent.trim() || "Image");
        }
        for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) {
            empty.setAttribute("role", "img");
        }
        for (const table of document.querySelectorAll(".virtual-table-viewport:not(:has([tabindex='0']))")) {
            table.querySelector("[role=gridcell], [role=columnheader], th, td")?.setAttribute("tabindex", "0");
        }
        for (const [gallery, kind] of [["#examples", "Example"], ["#recent", "Last image"]]) {
            for (const item of document.querySelectorAll(`${gallery} .thumbnail-item`)) {
                const caption = item.querySelector(".caption-label")?.textContent.trim();
                if (caption) item.setAttribute("aria-label", `${kind}, ${caption}`);
            }
        }
    };
    // A file that is dropped on the panels, or chosen by a click on them, goes where one is uploaded.
    const input = () => document.querySelector("#image input[type=file]");
    const replace = async (files) => {
        if (!files.length) return;
        if (!input()) document.querySelector("#image button[aria-label='Clear']")?.click();
        for (let tries = 0; !input() && tries < 100; tries++) {
            await new Promise((done) => setTimeout(done, 20));
        }
        if (!input()) return;
        input().files = files;
        input().dispatchEvent(new Event("change", { bubbles: true }));
    };
    const chooser = Object.assign(document.createElement("input"), { type: "file" });
    chooser.addEventListener("change", () => replace(chooser.files).then(() => { chooser.value = ""; }));
    const on = (event) => event.target.closest?.("#original, #overlay");
    document.addEventListener("click", (event) => {
        // The buttons of a panel keep their own meaning; an image in full screen is looked at.
        const own = event.target.closest?.("button:not(:has(> .image-frame)), a");
        if (on(event) && !own && !on(event).querySelector(".fullscreen") && !document.fullscreenElement) {
            chooser.click();
        }
    });
    document.addEventListener("dragover", (event) => { if (on(event)) event.preventDefault(); });
    document.addEventListener("drop", (event) => {
        if (!on(event)) return;
        event.preventDefault();
        replace(event.dataTransfer.files);
    });
    // A click on the timeline of a clip, or on the button of a frame, moves the slider of the frame.
    document.addEventListener("click", (event) => {
        const target = event.target.closest?.("#clip [data-frame], #clip svg");
        const number = document.querySelector("#clip-frame input[type=number]");
        if (!target || !number) return;
        const box = target.getBoundingClientRect();
        const clicked = Math.ceil((event.clientX - box.left) / box.width * target.viewBox?.baseVal.width);
        number.value = target.dataset.frame ?? Math.min(Math.max(clicked, 1), number.max);
        number.dispatchEvent(new Event("input", { bubbles: true }));
    });
    document.addEventListener("input", (event) => {
        const slider = event.target.closest?.("#clip-frame input");
        if (!slider) return;
        document.querySelector("#clip")?.style.setProperty("--frame", (slider.value - 0.5) / slider.max);
    });
    new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
    name();
}
