() => {
    // Names for what Gradio leaves without one, for screen readers: the button around an image, the place where
    // one is missing, and the examples.
    const name = () => {
        for (const button of document.querySelectorAll("button:not([aria-label]):has(> .image-frame)")) {
            const label = button.closest(".block")?.querySelector("[data-testid='block-label']");
            button.setAttribute("aria-label", label?.textContent.trim() || "Image");
        }
        for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) {
            empty.setAttribute("role", "img");
        }
        for (const example of document.querySelectorAll("#examples .thumbnail-item")) {
            const caption = example.querySelector(".caption-label")?.textContent.trim();
            if (caption) example.setAttribute("aria-label", `Example, ${caption}`);
        }
    };
    new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
    name();
}
