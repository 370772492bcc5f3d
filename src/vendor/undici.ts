/** Bundled into the package by the build; only files under `gateway`, `lab` and `cli` import it, and only when they are used: it costs 91 ms. */
export { Agent, Client, Pool, errors, request } from 'undici'
export type { Dispatcher } from 'undici'
