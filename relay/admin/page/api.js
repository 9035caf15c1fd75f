// What is asked of the relay. The token is kept for this tab alone, and goes into the
// Authorization header and nowhere else.

const place = "outbox-relay-token";

export const token = {
  get: () => sessionStorage.getItem(place) ?? "",
  set: (text) => (text ? sessionStorage.setItem(place, text) : sessionStorage.removeItem(place)),
};

// Refused is an answer that is no success: its message is the relay's.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, { method = "GET", body, headers = {} } = {}) {
  const all = { ...headers };
  if (token.get()) all.Authorization = "Bearer " + token.get();
  if (body) all["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method, headers: all, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(12000),
  });
  if (!answer.ok && answer.status !== 304) throw new Refused(answer.status, (await answer.text()).trim());
  return answer;
}
