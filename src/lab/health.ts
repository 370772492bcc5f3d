import type { RequestListener, ServerResponse } from 'node:http'
import type { Sessions } from '../types.ts'
import { answerJson } from './answer.ts'

export const HEALTH_PATH = '/health'
/** Tells the gateway which route label this server's visitors carry. */
export const ROUTE_HEADER = 'x-holdfast-route'
/** Newcomers go where it is lowest. */
const LOAD_HEADER = 'x-holdfast-load'

export type Serving = 'joining' | 'up' | 'draining'

/** 200 while the server takes visitors, 503 while it joins or drains. Other paths go on to the application. */
export function withHealth(app: RequestListener, serving: () => Serving, sessions: Pick<Sessions<never>, 'status'>): RequestListener {
  async function answer(response: ServerResponse): Promise<void> {
    const { details, sessions: held } = await sessions.status()
    const route = details?.['route']
    if (typeof route === 'string') response.setHeader(ROUTE_HEADER, route)
    if (held !== undefined) response.setHeader(LOAD_HEADER, held)
    response.setHeader('cache-control', 'no-store')
    answerJson(response, serving() === 'up' ? 200 : 503, { state: serving() })
  }
  return (request, response) => {
    if (request.url !== HEALTH_PATH) return app(request, response)
    answer(response).catch(() => answerJson(response, 503, { state: 'failing' }))
  }
}
