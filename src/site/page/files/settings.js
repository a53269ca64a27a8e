// The server's settings, which index.html carries as data attributes of its first element.

export const settings = document.documentElement.dataset;
