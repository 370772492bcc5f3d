import { serverColour } from '../shared/server-colour.ts'
import { answer, mood, refresh } from './session.ts'

export function Banner() {
  const state = mood.value
  const { node = '', user, data } = answer.value ?? {}
  return (
    <section class={`banner ${state.kind}`} aria-label="Your session" aria-live="polite" data-mood={state.kind}>
      <div>
        {state.kind === 'stranger' && (
          <>
            <strong>Welcome.</strong> Put something in the cart or log in: a session begins with the first thing worth keeping.
          </>
        )}
        {state.kind === 'remembered' && (
          <>
            <strong>You are remembered{user ? `, ${user}` : ''}.</strong> <ServerChip id={node} /> answered and knows your session
            {typeof data?.['visits'] === 'number' ? ` (step ${data['visits']})` : ''}.
          </>
        )}
        {state.kind === 'forgotten' && (
          <>
            <strong>You have been forgotten.</strong> <ServerChip id={state.node} /> does not know your session: cart and log-in are gone,
            or it was ended elsewhere.
          </>
        )}
        {state.kind === 'trouble' && (
          <>
            <strong>That did not work.</strong> {state.node !== undefined && <ServerChip id={state.node} />} {state.message}
          </>
        )}
      </div>
      <button type="button" onClick={() => void refresh()}>
        Visit again
      </button>
    </section>
  )
}

export function ServerChip({ id }: { id: string }) {
  return <span class={`chip ${serverColour(id)}`}>{id}</span>
}
