/**
 * Finds visitors who were forgotten: they present a session that this cluster made and are answered a new one. Works alike for
 * all strategies, and for `isolated`, which cannot know what other servers hold.
 */
import type { IncomingMessage } from 'node:http'
import { jarReader } from '../core/jar.ts'
import { deriveKeys } from '../core/keys.ts'
import { roots } from '../core/root.ts'
import { systemRuntime } from '../core/runtime.ts'
import type { Session } from '../types.ts'
import type { ServerConfig } from './messages.ts'

/** The shop keeps the default lifetime; a root tells when it was made by when it ends. */
const ABSOLUTE_MS = 12 * 60 * 60 * 1000

export type StrangerWatch = (request: IncomingMessage, session: Pick<Session<object>, 'isNew'>) => void

/** `report` gets the key of each session that was presented and is not known. The lab knows which of them were ended on purpose. */
export function strangerWatch(config: ServerConfig, report: (key: string) => void): StrangerWatch {
  const reader = jarReader(roots(deriveKeys(config.secrets, config.cookieName), systemRuntime()), config.cookieName, 'both')
  return (request, session) => {
    if (!session.isNew) return
    const jar = reader.read({ header: (name) => one(request.headers[name]), method: request.method ?? 'GET', url: request.url ?? '/' }).jar
    if (jar !== undefined && jar.absoluteAt - ABSOLUTE_MS >= config.since) report(jar.key)
  }
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join('; ') : value
}
