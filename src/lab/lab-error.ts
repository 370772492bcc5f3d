/** A refusal of the lab: answered over HTTP with its status, printed as one line by the command line. */
export interface LabError extends Error {
  readonly status: number
  readonly code: string
}

export function labError(status: number, code: string, message: string): LabError {
  return Object.assign(new Error(message), { status, code })
}

export function isLabError(error: unknown): error is LabError {
  return error instanceof Error && 'status' in error && 'code' in error
}
