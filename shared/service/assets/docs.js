SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  // Nothing is sent to the validator on the Internet.
  validatorUrl: null,
  onComplete: () => {
    fetch("openapi.json").then((answer) => answer.json()).then((api) => { document.title = api.info.title; });
  },
});
