import { messageOf, SIGNED_IN, signIn } from "../api/client";
import { greet } from "../reader";
import { openDialog } from "./dialog";
import { h, setText } from "./dom";

/** Ask for an access key. What was not saved stays in the browser meanwhile. */
export function askKey(): void {
  if (document.querySelector(".sign-in")) return;
  const field = h("input", {
    type: "password",
    id: "access-key",
    required: true,
    maxlength: 200,
    autocomplete: "current-password",
  });
  const failure = h("p", { class: "failure", role: "alert", hidden: true });
  const send = async (event: Event) => {
    event.preventDefault();
    try {
      if (greet(await signIn(field.value))) {
        // Another reader starts again: what the one before did is not theirs to see or to send.
        location.reload();
        return;
      }
      dialog.close();
      dispatchEvent(new Event(SIGNED_IN));
    } catch (error) {
      failure.hidden = false;
      setText(failure, messageOf(error));
    }
  };
  const form = h(
    "form",
    { class: "sign-in", onsubmit: (event: Event) => void send(event) },
    h("p", {}, "Your session has ended. Sign in to continue; your work on this page is kept."),
    h("label", { for: "access-key" }, "Access key"),
    field,
    failure,
    h(
      "div",
      { class: "actions end" },
      h("button", { type: "submit", class: "button primary" }, "Sign in"),
    ),
  );
  const dialog = openDialog("Sign in", [form]);
  field.focus();
}
