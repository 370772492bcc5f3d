/** Bundled into the package by the build, which takes only the pool: a third of undici's loading time. So it can `dispatch`, but not `request`. */
export { Pool } from 'undici'
export type { Dispatcher } from 'undici'
