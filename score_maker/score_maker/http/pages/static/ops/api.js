// What operators ask of score_maker, with their token. Answers and Problems are as in ../api.js.
import { request } from "../api.js";
import { token } from "./session.js";

const ask = async (method, path, { bearer = token(), ...options } = {}) =>
  (await request(method, path, { ...options, headers: { Authorization: `Bearer ${bearer}` } })).document;

export const getSaga = (bearer) => ask("GET", "/ops/saga", { bearer });

export const listOutbox = () => ask("GET", "/ops/outbox?limit=50");

/** Of these ids; of all messages where they are null. */
export const retry = (ids) => ask("POST", "/ops/outbox/retry", { body: { ids } });

export const createEvent = (event) => ask("POST", "/ops/events", { body: event });

export const updateEvent = (eventId, changes) => ask("PATCH", `/ops/events/${eventId}`, { body: changes });

export const cancelEvent = (eventId) => ask("POST", `/ops/events/${eventId}/cancel`);

export const importFile = (file, parameters) =>
  ask("POST", `/ops/imports?${new URLSearchParams(parameters)}`, { body: file });
