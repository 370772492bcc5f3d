import { createHmac, randomBytes } from 'node:crypto'
import { cookieOf } from './policies/sticky.ts'
import type { Server } from './servers.ts'

export interface OwnCookies {
  /** True when the Cookie header names this server. */
  names(cookie: string, server: Server): boolean
  set(server: Server): string
}

/** Opaque names for servers, made anew in every process: nobody can make one up. */
export function ownCookies(name: string, secure: boolean): OwnCookies {
  const key = randomBytes(32)
  const values = new WeakMap<Server, string>()
  const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`
  function valueOf(server: Server): string {
    const known = values.get(server)
    if (known !== undefined) return known
    const value = createHmac('sha256', key).update(server.id).digest().subarray(0, 16).toString('base64url')
    values.set(server, value)
    return value
  }
  return {
    names: (cookie, server) => cookieOf(cookie, name) === valueOf(server),
    set: (server) => `${name}=${valueOf(server)}; ${attributes}`,
  }
}
