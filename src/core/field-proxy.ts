import { inspect } from 'node:util'
import type { Fields } from './fields.ts'

const FIELDS: unique symbol = Symbol('fields')
interface DataTarget {
  [FIELDS]: Fields
}

/** `session.data`: an ordinary-looking object over the fields. Names such as `__proto__` are plain names. */
export function dataOf(fields: Fields): object {
  // Written out, not defined one by one: this is made for every request that looks at its session.
  return new Proxy({ __proto__: null, [FIELDS]: fields, [inspect.custom]: inspected } as DataTarget, dataHandler)
}

/** `util.inspect` calls it on the proxy. */
function inspected(this: DataTarget): Record<string, unknown> {
  return this[FIELDS].snapshot()
}

const dataHandler: ProxyHandler<DataTarget> = {
  get: (target, name) => (typeof name === 'string' ? target[FIELDS].get(name) : name === FIELDS ? target[FIELDS] : undefined),
  set(target, name, value) {
    if (typeof name !== 'string') return false
    target[FIELDS].set(name, value)
    return true
  },
  has: (target, name) => typeof name === 'string' && target[FIELDS].has(name),
  deleteProperty(target, name) {
    if (typeof name !== 'string') return false
    target[FIELDS].remove(name)
    return true
  },
  ownKeys: (target) => target[FIELDS].names(),
  getOwnPropertyDescriptor(target, name) {
    if (typeof name !== 'string' || !target[FIELDS].has(name)) return undefined
    return { value: target[FIELDS].get(name), writable: true, enumerable: true, configurable: true }
  },
  defineProperty(target, name, descriptor) {
    if (typeof name !== 'string' || !('value' in descriptor)) return false
    target[FIELDS].set(name, descriptor.value)
    return true
  },
  preventExtensions: () => false,
}
