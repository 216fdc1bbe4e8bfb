// Browsers refuse workers to pages that are opened from the disk. There the search runs in a hidden frame of the page.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.addEventListener("load", () => {
        const inner = frame.contentWindow
        inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
        const script = inner.document.createElement("script")
        script.src = address
        script.addEventListener("load", () => {
          this.send = (data) => inner.dispatchEvent(new MessageEvent("message", { data }))
          this.waiting.splice(0).forEach(this.send)
        })
        inner.document.head.append(script)
      }, { once: true })
      frame.srcdoc = "<!doctype html><title>search</title>"
      document.body.append(frame)
    }

    postMessage(data) {
      if (this.send) this.send(data)
      else this.waiting.push(data)
    }
  }
}
