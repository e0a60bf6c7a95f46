// The admin API. What goes wrong is thrown as an ApiError with the words of the problem document.

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function send(method, path, { body, etag } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag) headers["If-Match"] = etag;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new ApiError(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const said = problem.detail || problem.title || response.statusText || "It was refused.";
  throw new ApiError(response.status, said);
}

const json = async (path) => (await send("GET", path)).json();
const named = (name) => `/api/v1/users/${encodeURIComponent(name)}`;

export const login = (token) => send("POST", "/api/v1/login", { body: { token } });
export const logout = () => send("POST", "/api/v1/logout");
export const server = () => json("/api/v1/server");
export const rates = () => json("/api/v1/rates");
export const sessions = (user) => json(`/api/v1/sessions?user=${encodeURIComponent(user)}&limit=100`);
export const changes = () => json("/api/v1/audit?limit=12");
export const metrics = async () => (await send("GET", "/metrics")).text();

export async function user(name) {
  const response = await send("GET", named(name));
  return { etag: response.headers.get("ETag"), user: await response.json() };
}

/** Changes a user whom nobody has changed since `etag`. */
export const change = (name, etag, body) => send("PATCH", named(name), { body, etag });
export const kill = (id) => send("DELETE", `/api/v1/sessions/${encodeURIComponent(id)}`);
export const killAll = (name) => send("DELETE", `${named(name)}/sessions`);
export const events = (name) => new EventSource(name === null ? "/api/v1/events" : `/api/v1/events?user=${encodeURIComponent(name)}`);
