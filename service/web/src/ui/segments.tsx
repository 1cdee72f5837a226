/** One choice of several, as buttons in a row. */

export interface Segment {
  readonly label: string;
  readonly isOn: boolean;
  readonly choose: () => void;
}

interface Props {
  readonly label: string;
  readonly options: readonly Segment[];
  readonly wrap?: boolean;
}

export function Segments({ label, options, wrap = false }: Props) {
  return (
    <div class={wrap ? "segments wrap" : "segments"} role="group" aria-label={label}>
      {options.map(({ label: text, isOn, choose }) => (
        <button key={text} type="button" aria-pressed={isOn} onClick={choose}>
          {text}
        </button>
      ))}
    </div>
  );
}
