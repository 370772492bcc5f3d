import type { RequestView, Session, Sessions } from '../types.ts'
import type { BrowserJar } from './browser-jar.ts'

// Contracts store values of many shapes in one session.
export type Data = Record<string, any>

export interface Visit<T> {
  readonly result: T
  readonly cookies: readonly string[]
}

/** One request, as an adapter runs it: open, handler, commit or settle. The jar takes nothing yet. */
export async function request<T>(
  server: Sessions<Data>,
  view: RequestView,
  handler: (session: Session<Data>) => T | Promise<T>,
): Promise<Visit<T>> {
  const open = await server.open(view)
  try {
    const result = await handler(open.session)
    const { cookies } = open.needsCommit() ? await open.commit() : open.settle()
    open.headSent()
    return { result, cookies }
  } finally {
    open.end()
  }
}

/** One visitor's request whose answer reaches the browser before anything else happens. */
export async function visit<T>(server: Sessions<Data>, jar: BrowserJar, handler: (session: Session<Data>) => T | Promise<T>): Promise<T> {
  const { result, cookies } = await request(server, jar.request(), handler)
  jar.take(cookies)
  return result
}

/** What a fresh request at `server` reads, in a copy of the jar. */
export async function readAll(server: Sessions<Data>, jar: BrowserJar): Promise<Data | undefined> {
  return visit(server, jar, (session) => (session.isNew ? undefined : { ...session.data }))
}
