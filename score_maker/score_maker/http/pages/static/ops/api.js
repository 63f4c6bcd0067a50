// The operators' part of score_maker's API, called with their token. Results and Problems are as in ../api.js.
import { request } from "../api.js";
import { token } from "./session.js";

const call = async (method, path, { bearer = token(), ...options } = {}) =>
  (await request(method, path, { ...options, headers: { Authorization: `Bearer ${bearer}` } })).document;

export const getSaga = (bearer) => call("GET", "/ops/saga", { bearer });

export const listOutbox = () => call("GET", "/ops/outbox?limit=50");

/** Retries the messages with these ids now, or all messages if `ids` is null. */
export const retry = (ids) => call("POST", "/ops/outbox/retry", { body: { ids } });

export const createEvent = (event) => call("POST", "/ops/events", { body: event });

export const updateEvent = (eventId, changes) => call("PATCH", `/ops/events/${eventId}`, { body: changes });

export const cancelEvent = (eventId) => call("POST", `/ops/events/${eventId}/cancel`);

export const importFile = (file, parameters) =>
  call("POST", `/ops/imports?${new URLSearchParams(parameters)}`, { body: file });
