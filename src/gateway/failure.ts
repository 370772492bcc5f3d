/** Why a server's answer did not come, or not whole. */
export type Failure =
  /** No byte of the request was sent. */
  | 'dial'
  /** The connection broke after the request may have been sent. */
  | 'reset'
  /** A kept connection ended before the first byte of the answer: most often the server's idle timeout met the request. */
  | 'stale'
  /** The connection ended before the server had read the body: it may have refused it. */
  | 'unread'
  /** The server took too long to begin its answer, or stopped in it. */
  | 'timeout'
  /** The server's answer is not HTTP. */
  | 'malformed'
  /** The server was removed before the request left. */
  | 'removed'
  /** The client sends its body too slowly. */
  | 'slow'

/** RFC 9110, section 9.2.2, less the ones that change something: a repeated PUT may undo what came between. */
export function isRepeatable(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}
